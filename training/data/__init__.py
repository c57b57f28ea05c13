"""Data of a training: readers, splits, duplicates, targets, augmentation."""
