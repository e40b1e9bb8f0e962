"""BYTES: what travels, and nothing about what it means.

Here live the protobuf messages of the protocol, the hand-made encoders of the hot
path, the subjects, and the framing of the NATS client protocol. No clock, no sockets,
no state that outlives a call. Whatever is encoded here decodes with the generated module.
"""
