"""What experiments return: frozen values, units in the names. `schema` names the JSON document."""
