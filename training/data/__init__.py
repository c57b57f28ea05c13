"""From files to pictures with targets: readers, splits, duplicates, augmentation."""
