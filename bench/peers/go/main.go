// echo PATH: an echo server on Go's net package, one goroutine a connection, until it is killed.
package main

import (
	"log"
	"net"
	"os"
)

const room = 65536

func serve(connection net.Conn) {
	defer connection.Close()
	bytes := make([]byte, room)
	for {
		got, err := connection.Read(bytes)
		if err != nil {
			return
		}
		if _, err = connection.Write(bytes[:got]); err != nil {
			return
		}
	}
}

func main() {
	listener, err := net.Listen("unix", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(connection)
	}
}
