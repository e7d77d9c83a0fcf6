"""Where the files of a deployment are: what belongs to it lies beside its database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from keeper.config.deployment import Config
from keeper.observe import tells


@dataclass(frozen=True, slots=True)
class Files:
    file: Path
    """The configuration's."""
    config: Config

    @property
    def secrets(self) -> list[Path]:
        """Those that may hold secrets, whether they exist or not. The configuration does where one is written out in
        it; an address without a token is none."""
        keystore = self.config.executor.keystore
        is_written = any(secret.is_written and tells(secret) for secret in self.config.secrets())
        return [
            Path(".env"),
            self.file.parent / ".env",
            *([] if keystore is None else [keystore]),
            *([self.file] if is_written else []),
        ]

    @property
    def database(self) -> Path:
        """The database's file, or the configuration's where it is no file."""
        scheme, _, rest = self.config.store.url.reveal().partition("://")
        return Path(rest.removeprefix("/")) if scheme.startswith("sqlite") else self.file.resolve()

    @property
    def pulse(self) -> Path:
        """Where the daemon says how it fares (`keeper.pulse`)."""
        return self._beside("pulse.json")

    @property
    def requests(self) -> Path:
        """The folder in which people leave what they ask of the deliveries."""
        return self._beside("requests")

    @property
    def pause(self) -> Path:
        """Whose presence pauses this deployment."""
        return self.config.breakers.pause_file or self._beside("pause")

    def _beside(self, suffix: str) -> Path:
        return self.database.with_name(f"{self.database.name}.{suffix}")
