"""What does the gateway keep of single homes, under which name, how, and until when?"""
