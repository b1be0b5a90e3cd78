"""Score-optimal schedules (arXiv 2412.07877): costs of single steps, the path they add up to, its equal partition.

A schedule is a row of noise levels sigma_0 > ... > sigma_T in sampling order, in the coordinate y = x / alpha in which
every process is variance exploding: sigma is the rho = sigma / alpha of the other rooms. A step goes from a noisier
level to a cleaner one, which it *enters*.
"""
