# A streaming server with all drivers, its engine compiled; a NATS server of its own is included.
FROM python:3.13 AS build
ENV STAN_COMPILE=1
WORKDIR /src
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY stan ./stan
COPY migrations ./migrations
RUN python -m venv /opt/stan \
 && /opt/stan/bin/pip install --no-cache-dir '.[embedded,postgres,mysql,console,speed]'

FROM python:3.13-slim
RUN useradd --uid 10001 --create-home --home-dir /var/lib/stan stan
COPY --from=build /opt/stan /opt/stan
ENV PATH=/opt/stan/bin:$PATH
USER stan
WORKDIR /var/lib/stan
VOLUME /var/lib/stan
EXPOSE 4222 8222
ENTRYPOINT ["stan-server"]
CMD ["-st", "SQL", "--sql_source", "/var/lib/stan/stan.db"]
