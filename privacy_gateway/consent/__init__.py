"""Whom may an answer be about?"""
