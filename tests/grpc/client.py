"""A generic gRPC client, which knows nothing of Tandem but what reflection tells: as grpcurl does, it asks for the services, makes a
message from JSON, calls, and prints JSON. Exits with 1 and the status where a call is refused.

    client.py HOST:PORT CREDENTIALS|- METHOD JSON [DETAILS]
"""

import json
import pathlib
import sys

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def channel(address: str, folder: str) -> tuple[grpc.Channel, list[tuple[str, str]]]:
    """The connection, and what every call carries."""
    if folder == "-":
        return grpc.insecure_channel(address), []
    files = {name: pathlib.Path(folder, name).read_bytes() for name in ("ca.crt", "tls.key", "tls.crt", "token")}
    credentials = grpc.ssl_channel_credentials(files["ca.crt"], files["tls.key"], files["tls.crt"])
    token = files["token"].decode().strip()
    return grpc.secure_channel(address, credentials), [("authorization", f"Bearer {token}")]


class Carrying(grpc.UnaryStreamClientInterceptor, grpc.StreamStreamClientInterceptor, grpc.UnaryUnaryClientInterceptor):
    """Adds the token to what reflection asks, too."""

    def __init__(self, metadata):
        self.metadata = metadata

    def _with(self, details):
        return details._replace(metadata=self.metadata)

    def intercept_unary_stream(self, go_on, details, request):
        return go_on(self._with(details), request)

    def intercept_unary_unary(self, go_on, details, request):
        return go_on(self._with(details), request)

    def intercept_stream_stream(self, go_on, details, requests):
        return go_on(self._with(details), requests)


def refused(error: grpc.RpcError) -> str:
    """The status with its typed details."""
    told = {"code": error.code().name, "message": error.details()}
    for key, value in error.trailing_metadata() or []:
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    told |= {"reason": info.reason, "domain": info.domain, "metadata": dict(info.metadata)}
    return json.dumps(told)


def main() -> int:
    address, folder, method, text = sys.argv[1:5]
    plain, metadata = channel(address, folder)
    line = grpc.intercept_channel(plain, Carrying(metadata))
    database = ProtoReflectionDescriptorDatabase(line)
    if method == "list":
        print(json.dumps(sorted(database.get_services())))
        return 0
    service, name = method.split("/")
    found = DescriptorPool(database).FindServiceByName(service).FindMethodByName(name)
    request = json_format.Parse(text, GetMessageClass(found.input_type)())
    reply = GetMessageClass(found.output_type)
    kind = line.unary_stream if found.server_streaming else line.unary_unary
    call = kind(f"/{method}", request_serializer=type(request).SerializeToString, response_deserializer=reply.FromString)
    try:
        answers = call(request, timeout=30)
        for answer in answers if found.server_streaming else [answers]:
            print(json_format.MessageToJson(answer, indent=None))
    except grpc.RpcError as error:
        print(refused(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
