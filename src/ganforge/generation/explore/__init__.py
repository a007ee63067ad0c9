"""What a trained model is for: paths, arithmetic, traversals, directions and projections of its latents.

Its public functions are those of `ganforge.explore`.
"""

from ganforge.generation.explore.arithmetic import draw_arithmetic as draw_arithmetic
from ganforge.generation.explore.arithmetic import evaluate_expression as evaluate_expression
from ganforge.generation.explore.arithmetic import parse_expression as parse_expression
from ganforge.generation.explore.directions import draw_strips as draw_strips
from ganforge.generation.explore.directions import find_directions as find_directions
from ganforge.generation.explore.figures import draw_completions as draw_completions
from ganforge.generation.explore.figures import draw_manifold as draw_manifold
from ganforge.generation.explore.figures import draw_reconstructions as draw_reconstructions
from ganforge.generation.explore.keys import Keys as Keys
from ganforge.generation.explore.keys import between as between
from ganforge.generation.explore.keys import keys_of_seeds as keys_of_seeds
from ganforge.generation.explore.paths import path_images as path_images
from ganforge.generation.explore.paths import write_path as write_path
from ganforge.generation.explore.projection import project as project
from ganforge.generation.explore.traversal import draw_traversal as draw_traversal
from ganforge.generation.explore.vectors import load_vector as load_vector
from ganforge.generation.explore.vectors import save_vector as save_vector
