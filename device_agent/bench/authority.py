"""A private certificate authority, made by `openssl` on the fly, for servers on this machine."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path


class Authority:
    """Issues certificates for loopback servers. `ca_file` is what a client must trust."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.ca_file = directory / "ca.pem"
        self._openssl("req", "-x509", *self._key("ca"), "-subj", "/CN=Test CA", "-days", "2", "-out", self.ca_file)

    def certificate(
        self, name: str, host: str, *, issued: bool = True, lifetime: tuple[str, str] | None = None
    ) -> Path:
        """A PEM file with key and certificate for `host`. `lifetime` is its first and last moment (YYYYMMDDhhmmssZ)."""
        certificate, request = self._directory / f"{name}.crt", self._directory / f"{name}.csr"
        extension = self._directory / f"{name}.ext"
        alternative = f"IP:{host}" if host[0].isdigit() else f"DNS:{host}"
        extension.write_text(f"subjectAltName={alternative}\n")
        self._openssl("req", *self._key(name), "-subj", f"/CN={host}", "-out", request)
        if lifetime:
            self._dated(request, certificate, extension, lifetime)
        else:
            signer = ("-CA", self.ca_file, "-CAkey", self._directory / "ca.key") if issued else (
                "-signkey", self._directory / f"{name}.key")  # fmt: skip
            self._openssl("x509", "-req", "-in", request, *signer, "-days", "2", "-set_serial", "7",
                          "-extfile", extension, "-out", certificate)  # fmt: skip
        whole = self._directory / f"{name}.pem"
        whole.write_text((self._directory / f"{name}.key").read_text() + certificate.read_text())
        return whole

    def server(self, pem: Path) -> ssl.SSLContext:
        """A server's context with that certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        return context

    def _dated(self, request: Path, certificate: Path, extension: Path, lifetime: tuple[str, str]) -> None:
        # Only `openssl ca` takes a first moment that lies in the future.
        config, index = self._directory / "ca.cnf", self._directory / "index.txt"
        index.write_text("")
        config.write_text(
            f"[ca]\ndefault_ca=x\n[x]\ndatabase={index}\nnew_certs_dir={self._directory}\ndefault_md=sha256\n"
            "policy=p\nrand_serial=yes\n[p]\ncommonName=supplied\n"
        )
        self._openssl("ca", "-batch", "-config", config, "-cert", self.ca_file, "-keyfile", self._directory / "ca.key",
                      "-in", request, "-out", certificate, "-startdate", lifetime[0], "-enddate", lifetime[1],
                      "-extfile", extension, "-notext")  # fmt: skip

    def _key(self, name: str) -> tuple[str | Path, ...]:
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-keyout", self._directory / f"{name}.key")  # fmt: skip

    def _openssl(self, *arguments: str | Path) -> None:
        if arguments[0] == "req" and "-x509" not in arguments:
            arguments = ("req", "-new", *arguments[1:])
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
