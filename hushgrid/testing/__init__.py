"""What stands in for a broker and a clock in tests?"""
