"""Looking at what a network has learnt, by gradients with respect to its input.

``saliency`` says which elements of an input a score depends on. ``visualise_classes`` climbs a score from noise, and
``fooling_images`` from an image of another class. ``amplify`` climbs the activations of a layer. All of them work on
copies of the net in evaluation mode, and a net whose input is words is refused, because words have no gradient.

``gradients`` has the two functions that are climbed, and ``ascent`` a step of gradient ascent.
"""

from .amplification import amplify
from .ascent import Ascent
from .classes import visualise_classes
from .fooling import Fooling, fooling_images
from .saliency import saliency

__all__ = ["Ascent", "Fooling", "amplify", "fooling_images", "saliency", "visualise_classes"]
