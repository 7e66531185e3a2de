# A machine of the cluster: a blank one, and the programs that the flavour wants on it.
ARG BASE
FROM ${BASE}
COPY bin/ /usr/local/bin/
