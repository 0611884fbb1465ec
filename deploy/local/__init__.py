"""The whole service on one machine, without a GPU and without containers: ``python -m deploy.local``.

launcher (``__main__``) -> supervisord (``supervise``) -> valkey, gateway, worker, webhooks, flower

The launcher writes supervisord's configuration, waits until everything is ready, reads one document and watches. Every
process ends with its parent, also when that is killed (``shared.process``); the launcher adopts the orphans of a killed
one.
"""
