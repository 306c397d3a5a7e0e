"""What the SDKs made by Stainless share: OpenAI's and Anthropic's have one and the same core.

Everything that such an SDK sends goes through `SyncAPIClient.request` or its async twin, with the
final JSON body: every method, `parse`, helpers, raw and streaming responses, and what a program
posts by hand. The gate stands there. No SDK is imported here.
"""

from ._asked import Asked
from ._funnel import Funnel
from ._sdk import ApiPath, BatchFiles, BatchShown, Gatherer, JobPath, Sdk, Sightings
from ._unsent import Unsent, read_unsent, sdk_of_method

__all__ = [
    "ApiPath",
    "Asked",
    "BatchFiles",
    "BatchShown",
    "Funnel",
    "Gatherer",
    "JobPath",
    "Sdk",
    "Sightings",
    "Unsent",
    "read_unsent",
    "sdk_of_method",
]
