"""Other frameworks, one thin file each; nothing below imports them, and each needs its own extra.

==========================  ===========================================================================================
`integrations.torch`        `TorchMember`: a PyTorch loop as a member (``pip install 'poptrain[torch]'``)
`integrations.sb3`          `sb3_member`: a Stable-Baselines3 algorithm as a member (``pip install 'poptrain[sb3]'``)
==========================  ===========================================================================================
"""
