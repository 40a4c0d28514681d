"""`python -m flowercolor` is `flowercolor`."""

from flowercolor.cli import main

main()
