# drctl for machines without Python: `make image`, or `docker build -t drctl .`; docs/container.md
# has how it is used. Debian's Python, the exact files of requirements.txt, and OpenSSH's client.
ARG BASE=debian:bookworm-slim

FROM $BASE AS build
# Where no package index answers: files in wheels/, and --build-arg PIP_NO_INDEX=1.
ARG PIP_NO_INDEX
ENV PIP_FIND_LINKS=/src/wheels PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-venv
WORKDIR /src
COPY requirements.txt wheel[s] /src/wheels/
RUN sed "/^# The lab's and the developers' from here on; the Dockerfile leaves them out.$/,\$d" \
      wheels/requirements.txt > needed.txt \
  && python3 -m venv /build \
  && python3 -m venv --without-pip /opt/drctl \
  && for python in /build /opt/drctl; do \
       /build/bin/pip --python $python/bin/python install --quiet \
         --require-hashes --only-binary :all: -r needed.txt || exit 1; \
     done
COPY pyproject.toml README.md inventory.example.yaml /src/
COPY drctl /src/drctl
COPY runbooks /src/runbooks
COPY templates /src/templates
RUN /build/bin/python -m hatchling build -t wheel -d dist \
  && /build/bin/pip --python /opt/drctl/bin/python install --quiet --no-index --no-deps dist/*.whl

FROM $BASE
RUN apt-get update \
  && apt-get install -y --no-install-recommends python3 openssh-client \
  && apt-get clean && rm -rf /var/lib/apt/lists/* \
  && useradd --create-home --uid 1000 drctl \
  && install -d -m 1777 /state /work
COPY --from=build /opt/drctl /opt/drctl
ENV PATH=/opt/drctl/bin:$PATH DRCTL_STATE_DIR=/state
VOLUME /state
WORKDIR /work
USER drctl
ENTRYPOINT ["drctl"]
