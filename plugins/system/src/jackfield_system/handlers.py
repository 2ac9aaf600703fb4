"""The functions of `api.system`. What they show is what the caller may call."""

from __future__ import annotations

from fnmatch import fnmatchcase

from jackfield import Call, CallError, Code, FunctionInfo, PluginInfo, Service
from jackfield_system.messages import Description, FunctionRow, Info, Out, Pattern, PluginRow, Which, WhichPlugin

service = Service("api.system")

_EVERYTHING = Pattern()

OPERATOR = "jackfield:operator"
"""The scope of a principal who may see why a plugin is out of service; so may a client on this machine. Taking one out,
and back in, needs it wherever clients have to say who they are."""


@service.function(requires=())
async def ping(call: Call) -> str:
    """Answer `pong`."""
    return "pong"


@service.function(requires=())
async def info(call: Call) -> Info:
    """Tell the server's name, version, protocol version and limits, and the caller its own address."""
    kernel = call.kernel
    return Info(
        name="jackfield",
        version=kernel.version,
        protocol=kernel.protocol,
        limits=dict(kernel.limits),
        address=call.client.address if call.client is not None else None,
    )


@service.function(requires=())
async def plugins(call: Call) -> list[PluginRow]:
    """List the plugins that were found and what became of them."""
    trusted = _trusted(call)
    return [_plugin_row(plugin, trusted=trusted) for plugin in call.kernel.plugins()]


@service.function(requires=())
async def functions(call: Call, data: Pattern = _EVERYTHING) -> list[FunctionRow]:
    """List the functions that the caller may call, all of them or those that match a pattern."""
    return [_function_row(f) for f in call.kernel.functions(call.principal) if fnmatchcase(f.event, data.pattern)]


@service.function(requires=(), errors=[Code.NOT_FOUND])
async def describe(call: Call, data: Which) -> Description:
    """Describe one function: its kind, the JSON Schemas of its input and output, its doc, its errors."""
    found = next((f for f in call.kernel.functions(call.principal) if f.event == data.event), None)
    if found is None:
        raise CallError(Code.NOT_FOUND, f"There is no function {data.event[:255]!r}.")
    return _description(found)


@service.function(requires=OPERATOR, errors=[Code.NOT_FOUND, Code.FAILED_PRECONDITION, Code.PERMISSION_DENIED])
async def quarantine(call: Call, data: Out) -> None:
    """Take a plugin out of service until it is released, or the server starts anew."""
    _check_operator(call)
    call.kernel.quarantine(data.plugin, data.reason)


@service.function(requires=OPERATOR, errors=[Code.NOT_FOUND, Code.FAILED_PRECONDITION, Code.PERMISSION_DENIED])
async def release(call: Call, data: WhichPlugin) -> None:
    """Take a plugin back into service at once, whatever has taken it out while the server ran."""
    _check_operator(call)
    call.kernel.release(data.plugin)


def _check_operator(call: Call) -> None:
    if not _trusted(call):
        raise CallError(Code.PERMISSION_DENIED, f"This is for operators: on the server's machine, or with {OPERATOR}.")


def _trusted(call: Call) -> bool:
    if call.principal is not None and OPERATOR in call.principal.scopes:
        return True
    return call.client is None or call.client.local


def _plugin_row(plugin: PluginInfo, *, trusted: bool) -> PluginRow:
    return PluginRow(
        name=plugin.name,
        version=plugin.version,
        state=plugin.state,
        namespaces=list(plugin.namespaces),
        functions=plugin.functions,
        kind=plugin.kind,
        reason=plugin.reason if trusted else None,
        hint=plugin.hint if trusted else None,
    )


def _function_row(function: FunctionInfo) -> FunctionRow:
    return FunctionRow(
        event=function.event,
        kind=function.kind,
        plugin=function.plugin,
        summary=function.summary,
        requires=None if function.requires is None else list(function.requires),
    )


def _description(found: FunctionInfo) -> Description:
    return Description(
        **_function_row(found).model_dump(),
        doc=found.doc,
        errors=list(found.errors),
        input=dict(found.input),
        output=dict(found.output),
        optional=found.optional,
        ordered=found.ordered,
        detached=found.detached,
        timeout=found.timeout,
        deprecated=found.deprecated,
        emits={event: dict(schema) for event, schema in found.emits.items()},
    )
