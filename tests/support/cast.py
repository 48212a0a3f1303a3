"""The people, servers and secrets that tests speak of."""

from panel.activity.log import Actor
from panel.preferences.parameter_table import Parameters
from panel.preferences.server_fields import ServerFields

SECRET_KEY = "a key of thirty-two letters or more"
PASSWORD, CODE = "palm tree letters", "coral-reef-7421"

# Somebody with every permission, somebody who may edit, somebody who may look.
MANAGER, OTHER, VIEWER = "asha", "bola", "vito"
USER = MANAGER
ASHA = Actor(MANAGER)
OPERATOR = Actor("operator")

NATIONAL = ServerFields(1, "National Store", "NAT-01")
KADAVU = ServerFields(7, "Kadavu Health Centre", "KDV-01")
LEVUKA = ServerFields(8, "Levuka Hospital", "LEV-01")

PRIMARY = Parameters(
    sync_id=1,
    name="National Store",
    store="NAT-01",
    user_name="country",
    password="a shared word",
)
SATELLITE = Parameters(
    sync_id=7,
    name="Kadavu Health Centre",
    store="KDV-01",
    user_name="kadavu",
    password="a shared word",
    url="https://central.example",
)
