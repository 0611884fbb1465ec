"""The uploads of ``tools.uploads`` under the name they had before; scripts outside this repository import them here."""

from tools.uploads import picture as picture
from tools.uploads import png as png
from tools.uploads import poisoned as poisoned
from tools.uploads import submit as submit
from tools.uploads import tiff as tiff
