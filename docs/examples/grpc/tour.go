// A tour of Gantry's gRPC API in Go: create, get, list, watch from a revision, patch, errors, and a command in a container.
//
// Make the message types once (package example.org/tour/gantryv1 here):
//
//	protoc -I crates/proto/proto --go_out=. --go-grpc_out=. \
//	  --go_opt=module=example.org/tour --go-grpc_opt=module=example.org/tour \
//	  --go_opt=Mgantry/v1/gantry.proto=example.org/tour/gantryv1 \
//	  --go-grpc_opt=Mgantry/v1/gantry.proto=example.org/tour/gantryv1 gantry/v1/gantry.proto
//
// Then: go run . HOST:PORT CA_FILE TOKEN tour
// or:   go run . HOST:PORT CA_FILE TOKEN exec NAMESPACE POD COMMAND...
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	pb "example.org/tour/gantryv1"
)

var configMaps = &pb.Resource{Group: "", Version: "v1", Resource: "configmaps"}

// bearer puts a token on every call.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (bearer) RequireTransportSecurity() bool { return true }

// kubernetesStatus is what a failed call carries.
type kubernetesStatus struct {
	Status, Reason, Message string
	Code                    int
	Details                 struct {
		Causes []struct{ Reason, Message string }
	}
}

// statusOf reads the Kubernetes Status out of the error of a failed call.
func statusOf(err error) (found kubernetesStatus) {
	for _, detail := range status.Convert(err).Details() {
		if failure, ok := detail.(*pb.Failure); ok {
			_ = json.Unmarshal(failure.Status, &found)
		}
	}
	return found
}

func tour(ctx context.Context, connection *grpc.ClientConn, namespace string) error {
	objects := pb.NewObjectsClient(connection)
	name := "tour-go"
	object, _ := json.Marshal(map[string]any{
		"apiVersion": "v1",
		"kind":       "ConfigMap",
		"metadata":   map[string]any{"name": name, "labels": map[string]string{"example": "tour"}},
		"data":       map[string]string{"color": "green"},
	})
	if _, err := objects.Create(ctx, &pb.CreateRequest{Resource: configMaps, Namespace: namespace, Object: object}); err != nil {
		return err
	}
	fmt.Println("created", name)

	get := &pb.GetRequest{Resource: configMaps, Namespace: namespace, Name: name}
	reply, err := objects.Get(ctx, get)
	if err != nil {
		return err
	}
	fmt.Println("read", data(reply.Object))

	revision, count, err := list(ctx, objects, namespace)
	if err != nil {
		return err
	}
	fmt.Println("listed", count)

	// From the list's revision on nothing is missed, however long it takes to get here.
	watching, stop := context.WithCancel(ctx)
	defer stop()
	watch, err := objects.Watch(watching, &pb.WatchRequest{
		Resource: configMaps, Namespace: namespace, LabelSelector: "example=tour", ResourceVersion: revision,
	})
	if err != nil {
		return err
	}
	patch := []byte(`{"data": {"color": "blue"}}`)
	_, err = objects.Patch(ctx, &pb.PatchRequest{
		Resource: configMaps, Namespace: namespace, Name: name, Type: pb.PatchType_PATCH_TYPE_MERGE, Patch: patch,
	})
	if err != nil {
		return err
	}
	batch, err := watch.Recv()
	if err != nil {
		return err
	}
	for _, event := range batch.Events {
		fmt.Println("watched", event.Type, data(event.Object))
	}

	if _, err := objects.Delete(ctx, &pb.DeleteRequest{Resource: configMaps, Namespace: namespace, Name: name}); err != nil {
		return err
	}
	_, err = objects.Get(ctx, get)
	if status.Code(err) == codes.OK {
		return fmt.Errorf("%s is still there", name)
	}
	why := statusOf(err)
	fmt.Println("failed", status.Code(err), why.Code, why.Reason, why.Message)
	return nil
}

// list reads page by page; the first chunk of a page has the list's metadata.
func list(ctx context.Context, objects pb.ObjectsClient, namespace string) (revision string, count int, err error) {
	request := &pb.ListRequest{Resource: configMaps, Namespace: namespace, LabelSelector: "example=tour", Limit: 500}
	for {
		page, err := objects.List(ctx, request)
		if err != nil {
			return "", 0, err
		}
		var head struct {
			Metadata struct{ ResourceVersion, Continue string }
		}
		for first := true; ; first = false {
			chunk, err := page.Recv()
			if err == io.EOF {
				break
			}
			if err != nil {
				return "", 0, err
			}
			if first {
				_ = json.Unmarshal(chunk.List, &head)
			}
			count += len(chunk.Items)
		}
		revision, request.Continue = head.Metadata.ResourceVersion, head.Metadata.Continue
		if request.Continue == "" {
			return revision, count, nil
		}
	}
}

func data(object []byte) map[string]string {
	var found struct{ Data map[string]string }
	_ = json.Unmarshal(object, &found)
	return found.Data
}

// execute runs a command without input and returns its exit code.
func execute(ctx context.Context, connection *grpc.ClientConn, namespace, pod string, command []string) (int, error) {
	session, err := pb.NewSessionsClient(connection).Open(ctx)
	if err != nil {
		return 0, err
	}
	exec := &pb.ExecRequest{Namespace: namespace, Pod: pod, Command: command, Stdout: true, Stderr: true}
	open := &pb.OpenSession{Kind: &pb.OpenSession_Exec{Exec: exec}}
	if err := session.Send(&pb.SessionFrame{Frame: &pb.SessionFrame_Open{Open: open}}); err != nil {
		return 0, err
	}
	for {
		answer, err := session.Recv()
		if err != nil {
			return 0, err
		}
		switch frame := answer.Frame.(type) {
		case *pb.SessionFrame_Data:
			os.Stdout.Write(frame.Data)
		case *pb.SessionFrame_Stderr:
			os.Stderr.Write(frame.Stderr)
		case *pb.SessionFrame_Status:
			var end kubernetesStatus
			if err := json.Unmarshal(frame.Status, &end); err != nil || end.Status == "Success" {
				return 0, err
			}
			for _, cause := range end.Details.Causes {
				if cause.Reason == "ExitCode" {
					return strconv.Atoi(cause.Message)
				}
			}
			return 0, fmt.Errorf("%s", end.Message)
		}
	}
}

func main() {
	if len(os.Args) < 5 {
		fmt.Fprintln(os.Stderr, "usage: tour HOST:PORT CA_FILE TOKEN tour | exec NAMESPACE POD COMMAND...")
		os.Exit(2)
	}
	authority, err := credentials.NewClientTLSFromFile(os.Args[2], "")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// The part of the user agent before the slash is the field manager that changes are ascribed to.
	connection, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(authority),
		grpc.WithPerRPCCredentials(bearer(os.Args[3])), grpc.WithUserAgent("tour/1"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer connection.Close()
	// Every call has a deadline; the server cancels it then.
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	code := 0
	if os.Args[4] == "exec" {
		code, err = execute(ctx, connection, os.Args[5], os.Args[6], os.Args[7:])
	} else {
		err = tour(ctx, connection, "default")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}
