"""Textbook morphology on binary images: operators, structuring elements, level sets of gray images.

`operators` has erosions, dilations and the operators made of them; `elements` has structuring
elements; `levelsets` turns gray and colour images into binary channels and back; `contrast`
computes local contrast, colour differences and directions of edges, in integers, from which level
sets can be taken.
`shift` is the one primitive that moves an image, and `bit_arrays` says which array types hold
binary images.
"""
