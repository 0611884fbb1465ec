"""The whole service on one machine, without a GPU and without containers: ``python -m deploy.local``.

launcher (``__main__``) -> supervisord (``supervise``) -> valkey, gateway, worker, webhooks, flower

The launcher writes supervisord's configuration, waits until everything is ready, reads one document and watches. Every
process ends with its parent, also when that is killed (``parent_death``); the launcher adopts what a killed one leaves.
"""
