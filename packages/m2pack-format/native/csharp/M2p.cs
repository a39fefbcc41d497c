// M2p.cs - reads .m2p archives from C# (Unity, .NET, Mono) through the library m2p (m2p.h), by P/Invoke.
//
// Put libm2p.so, m2p.dll or libm2p.dylib where the runtime looks for native libraries (in Unity: Assets/Plugins).
//
//     using (var archive = M2pArchive.Open("pack.m2p", new Dictionary<uint, byte[]> { { 7, publicKey } }))
//     {
//         archive.Unlock(7, contentKey);
//         byte[] texture = archive.Read("textures/rock.dds");
//         using (Stream music = archive.OpenRead("music/theme.ogg")) { ... }
//     }
//
// One M2pArchive may be used by several threads after Unlock(): each call reads through memory of its own.
using System;
using System.Collections.Generic;
using System.IO;
using System.Runtime.InteropServices;
using System.Text;

namespace Keyturn
{
    /// <summary>A refusal. <see cref="Code"/> is the stable name, such as M2P_SIGNATURE; it never changes.</summary>
    public sealed class M2pException : IOException
    {
        public string Code { get; }

        internal M2pException(string code, string message) : base(code + ": " + message)
        {
            Code = code;
        }
    }

    /// <summary>A file of an archive: its path, its size in bytes, and the SHA-256 of its content.</summary>
    public sealed class M2pEntry
    {
        public string Path { get; internal set; }
        public long Size { get; internal set; }
        public long StoredSize { get; internal set; }
        public byte[] Sha256 { get; internal set; }
        /// <summary>Whether its owner may execute it; false in version 1, which does not say.</summary>
        public bool Executable { get; internal set; }
        /// <summary>When it was last changed, or null where the archive has no times.</summary>
        public DateTime? ModifiedUtc { get; internal set; }
        internal uint Index;
    }

    /// <summary>An archive whose table was verified under the public key of its key_id.</summary>
    public sealed class M2pArchive : IDisposable
    {
        private readonly ArchiveHandle handle;

        private M2pArchive(ArchiveHandle handle)
        {
            this.handle = handle;
            KeyId = Native.m2p_key_id(handle);
            Version = Native.m2p_version(handle);
        }

        /// <summary>The key_id that the content key must have.</summary>
        public uint KeyId { get; }

        /// <summary>The format version of the archive, 1 or 2.</summary>
        public uint Version { get; }

        /// <summary>Opens a file. Each public key has 32 bytes and is used for archives of its key_id only.</summary>
        /// <exception cref="M2pException">The archive is cut, changed, or signed by another key.</exception>
        public static M2pArchive Open(string path, IReadOnlyDictionary<uint, byte[]> publicKeys)
        {
            if (path == null) throw new ArgumentNullException(nameof(path));
            if (publicKeys == null) throw new ArgumentNullException(nameof(publicKeys));
            Native.Source source;
            Native.Error error;
            Check(Native.m2p_file_source(Utf8(path, true), out source, out error), ref error);
            byte[] verifiers = Verifiers(publicKeys);
            GCHandle pinned = GCHandle.Alloc(verifiers, GCHandleType.Pinned);
            try
            {
                var options = new Native.Options
                {
                    Verifiers = pinned.AddrOfPinnedObject(),
                    VerifierCount = (UIntPtr)(uint)publicKeys.Count
                };
                ArchiveHandle handle;
                Check(Native.m2p_open(out handle, ref source, ref options, out error), ref error);
                return new M2pArchive(handle);
            }
            finally
            {
                pinned.Free();
            }
        }

        /// <summary>Gives the archive its content key of 32 bytes. Wipe your copy afterwards.</summary>
        public void Unlock(uint keyId, byte[] contentKey)
        {
            if (contentKey == null) throw new ArgumentNullException(nameof(contentKey));
            if (contentKey.Length != 32) throw new ArgumentException("A content key has 32 bytes", nameof(contentKey));
            Native.Error error;
            Check(Native.m2p_unlock(handle, keyId, contentKey, out error), ref error);
        }

        /// <summary>All files, in the order of the bytes of their paths.</summary>
        public IEnumerable<M2pEntry> Entries
        {
            get
            {
                uint count = Native.m2p_count(handle);
                for (uint index = 0; index < count; index++) yield return EntryAt(index);
            }
        }

        /// <summary>The file of this path, or null. ASCII letters of either case are equal when asked for.</summary>
        public M2pEntry Find(string path, bool ignoreCase = false)
        {
            if (path == null) throw new ArgumentNullException(nameof(path));
            byte[] name = Utf8(path, false);
            uint index;
            Native.Error error;
            int status = ignoreCase
                ? Native.m2p_find_folded(handle, name, (UIntPtr)(uint)name.Length, out index, out error)
                : Native.m2p_find(handle, name, (UIntPtr)(uint)name.Length, out index, out error);
            if (status == Native.EntryUnknown) return null;
            Check(status, ref error);
            return EntryAt(index);
        }

        /// <summary>A whole file, after its SHA-256 was checked.</summary>
        public byte[] Read(string path)
        {
            M2pEntry entry = Find(path);
            if (entry == null) throw new FileNotFoundException("The archive has no such file", path);
            var bytes = new byte[entry.Size];
            using (ReaderHandle reader = OpenReader())
            {
                Native.Error error;
                Check(Native.m2p_read(reader, entry.Index, bytes, (UIntPtr)(ulong)entry.Size, out error), ref error);
            }
            return bytes;
        }

        /// <summary>A seekable stream over a file, in constant memory. Every byte is verified first.</summary>
        public Stream OpenRead(string path)
        {
            M2pEntry entry = Find(path);
            if (entry == null) throw new FileNotFoundException("The archive has no such file", path);
            return new EntryStream(OpenReader(), entry);
        }

        public void Dispose()
        {
            handle.Dispose();
        }

        private ReaderHandle OpenReader()
        {
            ReaderHandle reader;
            Native.Error error;
            Check(Native.m2p_reader_open(handle, out reader, out error), ref error);
            reader.Keep(handle);
            return reader;
        }

        private M2pEntry EntryAt(uint index)
        {
            Native.Entry entry;
            Native.Error error;
            Check(Native.m2p_entry_at(handle, index, out entry, out error), ref error);
            Native.Attributes attributes;
            Check(Native.m2p_attributes_at(handle, index, out attributes, out error), ref error);
            var path = new byte[(int)entry.PathLength];
            var sha256 = new byte[32];
            Marshal.Copy(entry.Path, path, 0, path.Length);
            Marshal.Copy(entry.Sha256, sha256, 0, sha256.Length);
            return new M2pEntry
            {
                Path = Encoding.UTF8.GetString(path),
                Size = checked((long)entry.Size),
                StoredSize = checked((long)entry.Stored),
                Sha256 = sha256,
                Executable = attributes.Executable != 0,
                ModifiedUtc = attributes.HasTime == 0 ? (DateTime?)null : Epoch.AddMilliseconds(attributes.ModifiedMs),
                Index = index
            };
        }

        private static readonly DateTime Epoch = new DateTime(1970, 1, 1, 0, 0, 0, DateTimeKind.Utc);

        internal static void Check(int status, ref Native.Error error)
        {
            if (status == 0) return;
            string code = Marshal.PtrToStringAnsi(Native.m2p_code(status));
            int length = Array.IndexOf(error.Message, (byte)0);
            if (length < 0) length = error.Message.Length;
            throw new M2pException(code, Encoding.UTF8.GetString(error.Message, 0, length));
        }

        private static byte[] Utf8(string text, bool terminated)
        {
            if (text.IndexOf('\0') >= 0) throw new ArgumentException("A path has no zero character", nameof(text));
            return new UTF8Encoding(false, true).GetBytes(terminated ? text + "\0" : text);
        }

        /// <summary>m2p_verifier[]: a number of 32 bits and 32 bytes each.</summary>
        private static byte[] Verifiers(IReadOnlyDictionary<uint, byte[]> publicKeys)
        {
            var bytes = new byte[36 * publicKeys.Count];
            int at = 0;
            foreach (KeyValuePair<uint, byte[]> pair in publicKeys)
            {
                if (pair.Value == null || pair.Value.Length != 32)
                    throw new ArgumentException("A public key has 32 bytes", nameof(publicKeys));
                Buffer.BlockCopy(BitConverter.GetBytes(pair.Key), 0, bytes, at, 4);
                Buffer.BlockCopy(pair.Value, 0, bytes, at + 4, 32);
                at += 36;
            }
            return bytes;
        }
    }

    internal sealed class EntryStream : Stream
    {
        private readonly ReaderHandle reader;
        private readonly M2pEntry entry;
        private byte[] piece = new byte[0];
        private long pieceStart;
        private long position;

        /// <summary>One call decrypts whole segments, so small reads are served from a piece of this size.</summary>
        private const int PieceSize = 1 << 20;

        internal EntryStream(ReaderHandle reader, M2pEntry entry)
        {
            this.reader = reader;
            this.entry = entry;
        }

        public override bool CanRead { get { return !reader.IsClosed; } }
        public override bool CanSeek { get { return !reader.IsClosed; } }
        public override bool CanWrite { get { return false; } }
        public override long Length { get { return entry.Size; } }

        public override long Position
        {
            get { return position; }
            set
            {
                if (value < 0) throw new ArgumentOutOfRangeException(nameof(value));
                position = value;
            }
        }

        public override int Read(byte[] buffer, int offset, int count)
        {
            if (buffer == null) throw new ArgumentNullException(nameof(buffer));
            if (offset < 0 || count < 0 || count > buffer.Length - offset)
                throw new ArgumentOutOfRangeException(nameof(count));
            if (reader.IsClosed) throw new ObjectDisposedException(nameof(EntryStream));
            if (count == 0 || position >= entry.Size) return 0;
            if (position < pieceStart || position >= pieceStart + piece.Length) Fill();
            int from = (int)(position - pieceStart), part = Math.Min(count, piece.Length - from);
            Buffer.BlockCopy(piece, from, buffer, offset, part);
            position += part;
            return part;
        }

        private void Fill()
        {
            long start = position - position % PieceSize;
            var next = new byte[Math.Min(PieceSize, entry.Size - start)];
            var length = (UIntPtr)(uint)next.Length;
            UIntPtr got;
            Native.Error error;
            int status = Native.m2p_read_range(reader, entry.Index, (ulong)start, next, length, out got, out error);
            M2pArchive.Check(status, ref error);
            piece = next;
            pieceStart = start;
        }

        public override long Seek(long offset, SeekOrigin origin)
        {
            Position = offset + (origin == SeekOrigin.Begin ? 0 : origin == SeekOrigin.Current ? position : entry.Size);
            return position;
        }

        public override void Flush() { }
        public override void SetLength(long value) { throw new NotSupportedException(); }
        public override void Write(byte[] buffer, int offset, int count) { throw new NotSupportedException(); }

        protected override void Dispose(bool disposing)
        {
            if (disposing) reader.Dispose();
            Array.Clear(piece, 0, piece.Length);
            base.Dispose(disposing);
        }
    }

    internal sealed class ArchiveHandle : SafeHandle
    {
        private ArchiveHandle() : base(IntPtr.Zero, true) { }
        public override bool IsInvalid { get { return handle == IntPtr.Zero; } }

        protected override bool ReleaseHandle()
        {
            Native.m2p_close(handle);
            return true;
        }
    }

    internal sealed class ReaderHandle : SafeHandle
    {
        private ArchiveHandle archive;

        private ReaderHandle() : base(IntPtr.Zero, true) { }
        public override bool IsInvalid { get { return handle == IntPtr.Zero; } }

        /// <summary>The archive stays open for as long as a reader of it does.</summary>
        internal void Keep(ArchiveHandle kept)
        {
            bool added = false;
            kept.DangerousAddRef(ref added);
            if (added) archive = kept;
        }

        protected override bool ReleaseHandle()
        {
            Native.m2p_reader_close(handle);
            if (archive != null) archive.DangerousRelease();
            return true;
        }
    }

    internal static class Native
    {
        private const string Library = "m2p";
        internal const int EntryUnknown = 21;

        [StructLayout(LayoutKind.Sequential)]
        internal struct Error
        {
            internal int Status;
            [MarshalAs(UnmanagedType.ByValArray, SizeConst = 192)]
            internal byte[] Message;
        }

        [StructLayout(LayoutKind.Sequential)]
        internal struct Source
        {
            internal IntPtr Context;
            internal ulong Size;
            internal IntPtr Read;
            internal IntPtr Close;
        }

        [StructLayout(LayoutKind.Sequential)]
        internal struct Options
        {
            internal IntPtr Verifiers;
            internal UIntPtr VerifierCount;
            internal IntPtr Allocator;
            internal ulong MaxManifest;
            internal uint MaxEntries;
            internal ulong MaxFile;
        }

        [StructLayout(LayoutKind.Sequential)]
        internal struct Entry
        {
            internal IntPtr Path;
            internal UIntPtr PathLength;
            internal ulong Size;
            internal ulong Stored;
            internal uint Slot;
            internal int Compressed;
            internal IntPtr Sha256;
        }

        [StructLayout(LayoutKind.Sequential)]
        internal struct Attributes
        {
            internal int Executable;
            internal int HasTime;
            internal ulong ModifiedMs;
        }

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr m2p_code(int status);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern int m2p_file_source(byte[] path, out Source source, out Error error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern int m2p_open(out ArchiveHandle archive, ref Source source, ref Options options,
            out Error error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern void m2p_close(IntPtr archive);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern int m2p_unlock(ArchiveHandle archive, uint keyId, byte[] contentKey, out Error error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern uint m2p_key_id(ArchiveHandle archive);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern uint m2p_version(ArchiveHandle archive);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern int m2p_attributes_at(ArchiveHandle archive, uint index, out Attributes attributes,
            out Error error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern uint m2p_count(ArchiveHandle archive);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern int m2p_entry_at(ArchiveHandle archive, uint index, out Entry entry, out Error error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern int m2p_find(ArchiveHandle archive, byte[] path, UIntPtr length, out uint index,
            out Error error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern int m2p_find_folded(ArchiveHandle archive, byte[] path, UIntPtr length, out uint index,
            out Error error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern int m2p_reader_open(ArchiveHandle archive, out ReaderHandle reader, out Error error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern void m2p_reader_close(IntPtr reader);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern int m2p_read(ReaderHandle reader, uint index, byte[] bytes, UIntPtr capacity,
            out Error error);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern int m2p_read_range(ReaderHandle reader, uint index, ulong offset, byte[] bytes,
            UIntPtr length, out UIntPtr got, out Error error);
    }
}
