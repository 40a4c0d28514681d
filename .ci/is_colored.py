"""Check that a colored photo has color and its input's size and gray, pixel for pixel."""

import sys

import cv2
import numpy as np

gray = cv2.imread(sys.argv[1], cv2.IMREAD_GRAYSCALE)
colored = cv2.imread(sys.argv[2])
assert colored.shape[:2] == gray.shape, (colored.shape, gray.shape)
again = cv2.cvtColor(colored, cv2.COLOR_BGR2GRAY)
assert np.abs(again.astype(int) - gray).max() <= 1, "the luma has changed"
spread = colored.max(axis=2).astype(int) - colored.min(axis=2)
assert spread.mean() > 10, f"hardly any color: channels differ by {spread.mean():.1f} levels"
sys.stdout.write(f"{sys.argv[2]}: full size, own luma, channels differ by {spread.mean():.1f}\n")
