"""The parts of the DeepSeek-OCR engine. ``worker.engines.deepseek_ocr`` puts them together.

In the worker: ``views`` (a picture as the model's views; runs in child processes), ``preprocess`` (those processes),
``inputs`` (prompt and views as vLLM's engine input), ``ladder`` (what is tried when a page goes wrong), ``start``
(building and checking the engine), ``watch`` (is it alive?), ``stats``. In vLLM's own process: ``core``, ``vision``,
``ngram``.
"""
