"""Official files, HDF5 and class folders; readers see the test split too."""
