# An image with nothing but programs and the libraries that they load: no shell, no tool.
ARG BASE
FROM ${BASE} AS gathered
COPY bin/ /image/usr/local/bin/
RUN for program in /image/usr/local/bin/*; do \
      ldd "$program" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do \
        cp -L --parents "$library" /image/; \
      done; \
    done; :
FROM scratch
ENV PATH=/usr/local/bin
COPY --from=gathered /image/ /
