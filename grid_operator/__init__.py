"""What a grid operator works out of the sums it may know: state of the grid, prices of data, theft, demand response."""
