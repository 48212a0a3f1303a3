"""What is saved now, in the shape in which the verbs take what is wanted."""

from panel.models.base import Server, Settings
from panel.preferences.parameter_fields import Parameters
from panel.preferences.server_fields import ServerFields


def parameters_of(settings: Settings) -> Parameters:
    """Return the saved parameters; the password is left as it is."""
    return Parameters(
        sync_id=settings.sync_id,
        name=settings.name,
        store=settings.store,
        user_name=settings.user_name,
        password=None,
        url=settings.url,
        request_size=settings.request_size,
        protocol=settings.protocol,
        private_ca=settings.private_ca,
        fingerprint=settings.fingerprint,
    )


def fields_of(server: Server) -> ServerFields:
    """Return the saved row; its password and its URL are left as they are."""
    return ServerFields(
        sync_id=server.sync_id,
        name=server.name,
        store=server.store,
        user_name=server.user_name,
    )
