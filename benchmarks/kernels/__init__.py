"""The kernels in C, without the codec around them."""
