"""Server reflection in both versions, v1 and v1alpha, which differ in nothing but the name of their package.

`grpcio-reflection` has only v1alpha, which newer clients ask for second, or no longer.

Source: https://github.com/grpc/grpc-proto, grpc/reflection/v1/reflection.proto.
"""

from collections.abc import Iterable
from typing import Final

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection, reflection_pb2

_ALPHA: Final = "grpc.reflection.v1alpha"
_V1: Final = "grpc.reflection.v1"
_METHOD: Final = "ServerReflectionInfo"
_SERVICE_V1: Final = f"{_V1}.ServerReflection"


def enable_reflection(server: grpc.aio.Server, services: Iterable[str]) -> None:
    """Have a server describe these services and reflection itself. `services`: full names."""
    _describe_v1()
    names = (*services, reflection.SERVICE_NAME, _SERVICE_V1)
    reflection.enable_server_reflection(names, server)
    handler = grpc.stream_stream_rpc_method_handler(
        reflection.aio.ReflectionServicer(names).ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE_V1, {_METHOD: handler}),))


def _describe_v1() -> None:
    """Add v1's file to the descriptors that reflection looks into."""
    file = FileDescriptorProto.FromString(reflection_pb2.DESCRIPTOR.serialized_pb)
    file.name, file.package = "grpc/reflection/v1/reflection.proto", _V1
    file.ClearField("options")  # names of packages in other languages
    for field in (field for message in file.message_type for field in message.field if field.type_name):
        field.type_name = _renamed(field.type_name)
    for method in (method for service in file.service for method in service.method):
        method.input_type, method.output_type = _renamed(method.input_type), _renamed(method.output_type)
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())


def _renamed(type_name: str) -> str:
    return type_name.replace(f".{_ALPHA}.", f".{_V1}.")
