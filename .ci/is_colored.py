"""Check that a coloured photo has colour and its input's size and grey, pixel for pixel."""

import sys

import cv2
import numpy as np

grey = cv2.imread(sys.argv[1], cv2.IMREAD_GRAYSCALE)
colored = cv2.imread(sys.argv[2])
assert colored.shape[:2] == grey.shape, (colored.shape, grey.shape)
again = cv2.cvtColor(colored, cv2.COLOR_BGR2GRAY)
assert np.abs(again.astype(int) - grey).max() <= 1, "the luma has changed"
spread = colored.max(axis=2).astype(int) - colored.min(axis=2)
assert spread.mean() > 10, f"hardly any colour: channels differ by {spread.mean():.1f} levels"
sys.stdout.write(f"{sys.argv[2]}: full size, own luma, channels differ by {spread.mean():.1f}\n")
