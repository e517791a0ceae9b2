"""What has the configurator signed, and may an agent follow it?"""
