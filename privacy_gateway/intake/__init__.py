"""Which of a consumer's sums may the gateway build answers on?"""
