"""The tests, a room a layer; a package so that one suite may use another's servers."""
