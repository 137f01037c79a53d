"""How attempts are carried out other than as commands of the supervisor."""
