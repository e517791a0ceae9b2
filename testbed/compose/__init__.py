"""What plays a testbed out of docker-compose.yml?"""
