# What holds a pod's namespaces: any program that sleeps.
ARG BASE
FROM ${BASE} AS gathered
RUN mkdir -p /image && for file in $(ldd /bin/sleep | grep -o '/[^ ]*') /bin/sleep; do \
      cp -L --parents "$file" /image/; \
    done
FROM scratch
COPY --from=gathered /image/ /
CMD ["/bin/sleep", "infinity"]
