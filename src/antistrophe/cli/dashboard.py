"""`dashboard`: serves the pages of a home until a signal stops it."""

from __future__ import annotations

from pathlib import Path

import click

from antistrophe.cli import screen
from antistrophe.cli.exit_codes import DONE
from antistrophe.cli.invocation import Invocation, everywhere, pass_invocation
from antistrophe.dashboard import require_extra


@click.command("dashboard", short_help="Serve pages that show the sagas and take orders.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="HOST", help="The address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8420, show_default=True, help="0: any that is free.")
@click.option("--read-only", is_flag=True, help="Only look: no page takes an order.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file with a token that every page needs; an address that others can reach needs one.",
)
@click.option("--user-header", metavar="NAME", help="The header in which a proxy that you trust tells who acts.")
@click.option("--root-path", default="", metavar="PATH", help="Where a proxy has the dashboard, such as /sagas.")
@everywhere
@pass_invocation
def dashboard_verb(
    invocation: Invocation,
    host: str,
    port: int,
    read_only: bool,
    token_file: Path | None,
    user_header: str | None,
    root_path: str,
) -> int:
    """Serve the dashboard of the home until SIGINT or SIGTERM. It reads the home's files, starts no actor system, and
    keeps none running; an order attaches to the one that runs.

    It needs the extra: pip install 'antistrophe[dashboard]'.
    """
    require_extra()
    from antistrophe.dashboard.serving import listen, read_token, serve

    token = None if token_file is None else read_token(token_file)
    listener = listen(host, port, has_token=token is not None)
    name, number = listener.getsockname()[:2]
    url = f"http://{f'[{name}]' if ':' in name else name}:{number}{root_path.rstrip('/')}/"
    if invocation.as_json:
        screen.print_json_line({"home": invocation.home, "url": url})
    else:
        screen.errors().print(screen.safe(f"the dashboard of {invocation.home} is at {url}"), soft_wrap=True)
    serve(
        invocation.home,
        listener,
        journal=invocation.journal_url or "",
        token=token,
        read_only=read_only,
        user_header=user_header,
        root_path=root_path,
    )
    return DONE
