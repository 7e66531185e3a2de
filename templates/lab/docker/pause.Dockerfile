# What holds a pod's namespaces: any program that sleeps, under the name that it has everywhere.
ARG BASE
FROM ${BASE} AS gathered
RUN mkdir -p /image && for file in $(ldd /bin/sleep | grep -o '/[^ ]*'); do \
      cp -L --parents "$file" /image/; \
    done && cp -L /bin/sleep /image/pause
FROM scratch
COPY --from=gathered /image/ /
CMD ["/pause", "infinity"]
