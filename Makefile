# The commands of this repository. Thin: what takes more than two lines is a script or a cargo alias.
.PHONY: run test battery e2e image bench fuzz deny sbom fmt lint setup venv faults figures cache-figures peers loadtest

# A demo application behind the proxy on :8080, with a banner of things to try.
run: setup
	cargo run --release -- demo

# Everything a change must pass, what fails fastest first. CI runs this and nothing else.
test: setup lint venv
	scripts/tests
	target/venv/bin/python tests/battery/main.py --forebay target/debug/forebay
	python3 tests/e2e/main.py --forebay-only

# Hostile bytes at both ends, judged by what reaches the other one (docs/hostile-input.md). For some of it, and for others:
# make battery ONLY=requests,chunks PROXY=forebay,nginx,haproxy
battery: setup venv
	cargo build --locked
	target/venv/bin/python tests/battery/main.py --forebay target/debug/forebay \
		$(if $(ONLY),--only $(ONLY)) $(if $(PROXY),--proxy $(PROXY) --report md)

# Deploys, kills and outages in Compose projects on the real Docker Engine, Forebay beside nginx, as a table.
# For some of them: make e2e ONLY=recreated,killed
e2e: setup
	python3 tests/e2e/main.py $(if $(ONLY),--only $(ONLY))

# The image `forebay`, built inside, release profile.
image:
	scripts/image

# The docs are for who works on the source, so public items may link to private ones.
lint:
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --locked --no-deps --document-private-items

fmt:
	cargo fmt

bench: setup
	cargo bench --locked

# Every parser of what clients and origins send, fuzzed for a while: make fuzz SECONDS_EACH=3600. Its corpora are run by `make test`.
SECONDS_EACH ?= 20
fuzz: setup
	scripts/fuzz $(SECONDS_EACH)

# cargo-deny's reading of deny.toml, which `make test` holds to by itself; and what the program is made of, as CycloneDX.
deny:
	scripts/deny

sbom: setup
	scripts/sbom target/sbom.cdx.json

# Forebay beside nginx, as a table: failures, processor time, memory. For some of them: make figures ONLY=a,e
figures: setup
	python3 loadtest/figures.py $(if $(ONLY),--only $(ONLY))

# Reloads, replacements, kills and a soak with broken origins, as tables: make faults ONLY=soak SECONDS=600 RATE=100 FOREBAY=path
faults: setup
	python3 loadtest/faults.py $(if $(ONLY),--only $(ONLY)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(RATE),--rate $(RATE)) \
		$(if $(FOREBAY),--forebay $(FOREBAY))

# The cache beside nginx's and Varnish's, as a table. For some: make cache-figures ONLY=a,e PROXIES=nginx,varnish
cache-figures: setup
	python3 loadtest/cache.py $(if $(ONLY),--only $(ONLY)) $(if $(PROXIES),--proxies $(PROXIES))

# Beside nginx, HAProxy, Traffic Server and Varnish: time of a request, rate, latency, memory. For some of it, and shorter:
# make peers ONLY=hit-1k,miss PEERS=forebay,nginx SECONDS=2 ROUNDS=3. With PICTURE=docs/peers.svg the picture goes there too.
peers: setup
	python3 loadtest/peers.py $(if $(ONLY),--only $(ONLY)) $(if $(PEERS),--peers $(PEERS)) $(if $(SECONDS),--seconds $(SECONDS)) \
		$(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(FOREBAY),--forebay $(FOREBAY)) $(if $(PICTURE),--picture $(PICTURE))

# Forebay and nginx under k6 and oha: smoke, load, stress, spike, deploy, and a soak of ten minutes; loadtest/README.md explains. For some
# of it, and shorter: make loadtest ONLY=load,soak PROXIES=forebay TOOLS=oha SECONDS=10 SOAK_SECONDS=60 RATE=200
loadtest: setup
	python3 loadtest/loadtest.py $(if $(ONLY),--only $(ONLY)) $(if $(PROXIES),--proxies $(PROXIES)) $(if $(TOOLS),--tools $(TOOLS)) \
		$(if $(SECONDS),--seconds $(SECONDS)) $(if $(SOAK_SECONDS),--soak-seconds $(SOAK_SECONDS)) $(if $(RATE),--rate $(RATE)) \
		$(if $(FOREBAY),--forebay $(FOREBAY))

# Installs what the build needs and this machine lacks (Debian, Ubuntu); does nothing when all is there.
setup:
	@scripts/setup

# The Python of the tests against real applications, in target/venv.
venv:
	@scripts/venv
