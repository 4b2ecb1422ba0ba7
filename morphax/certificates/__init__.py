"""Certificates: proofs, computed from the parameters, that neurons and networks are binary.

`neuron` decides for each neuron whether it is exactly an erosion or a dilation; `network` follows
the wiring of a model and decides for the whole network; `_rounding` bounds the errors of float
arithmetic. docs/theory.md, sections 2 and 3, has the theorems, and docs/numerics.md their proof in
floating point.
"""

from morphax.certificates.network import NetworkCertificate as NetworkCertificate
from morphax.certificates.network import certify_network as certify_network
from morphax.certificates.neuron import Certificate as Certificate
from morphax.certificates.neuron import certify as certify
from morphax.certificates.neuron import certify_neurons as certify_neurons
from morphax.certificates.neuron import structuring_element as structuring_element
