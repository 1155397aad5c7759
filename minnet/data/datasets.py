"""Data sets: some are bundled or computed, others are read from files, and ``fetch`` downloads them by name."""

from .builtin import digits, iris, spirals
from .cifar import cifar10, cifar10_classes, cifar100, cifar100_classes
from .fetching import fetch
from .idx import fashion_mnist, fashion_mnist_classes, mnist
from .image_folder import image_folder
from .tables import csv, npz
from .texts import coriolanus, shakespeare, text

__all__ = [
    "cifar10",
    "cifar10_classes",
    "cifar100",
    "cifar100_classes",
    "coriolanus",
    "csv",
    "digits",
    "fashion_mnist",
    "fashion_mnist_classes",
    "fetch",
    "image_folder",
    "iris",
    "mnist",
    "npz",
    "shakespeare",
    "spirals",
    "text",
]
