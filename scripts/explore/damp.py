"""How far the heads' weights should differ: errors by layer at three levels, small sample."""

import judge
judge.TEST = (13, 17)
from codec import Profile, learning, report
from judge import Judge

t = Judge()
for block, damp, step in ((64, .3, .065), (64, .6, .065), (64, 0, .065), (32, .3, .065), (1, .3, .065)):
    report(learning(Profile(block, step, gains=(0, 1, 2, 3), damp=damp)), t, f'block {block} damp {damp} step {step}')
