"""Hosting vLLM inside a worker, for any model that reads a page from its picture.

A model is a folder beside this one: it offers a ``ModelCard`` and a ``VisionModel`` (see ``model``), and its ``load``
calls ``engine.load`` with them. Here: ``config`` (settings to vLLM's arguments), ``launch`` (AsyncLLM and its
processes), ``engine`` (a page's way), ``preprocessor`` (pictures to the model's input, in processes of their own),
``liveness``, ``self_test``, ``stats``, ``core_failure``. In vLLM's own process: ``core``, ``plugin``, ``scheduler``,
``ngram`` and its processors. What leans on vLLM's private parts is listed in ``patches``.
"""
