"""The sampler fitted to a model: times and weights of few-step runs from fine ones, without gradients."""
