"""Upload: a folder as a data set of the hub, in one commit. Only when a person asks.

Knows: huggingface_hub's own upload. Does not know: what the folder holds. Everything else of this package only reads.
"""

from __future__ import annotations

from pathlib import Path

from catalog.hub.transport import HubOptions

# isort: split
import httpx2
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from catalog.errors import HubError


def upload_folder(options: HubOptions, folder: Path, repo: str, private: bool, message: str) -> str:
    """Make the data set if there is none, and commit the folder to it. Returns the commit's address.

    What the data set holds beside and the folder does not is deleted by the same commit.

    Raises HubError where the hub refuses, or the token may not write.
    """
    api = HfApi(endpoint=options.endpoint, token=options.token or False)
    try:
        api.create_repo(repo, repo_type="dataset", private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=repo, folder_path=folder, repo_type="dataset", commit_message=message, delete_patterns="*"
        )
    except (HfHubHTTPError, HFValidationError, httpx2.HTTPError) as error:
        raise HubError(
            f"{repo} could not be uploaded: {str(error)[:300]}.", "Check the name, and that LORAUTER_TOKEN may write."
        ) from error
    return str(done.commit_url)
